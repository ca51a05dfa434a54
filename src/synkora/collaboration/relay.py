"""The relay of a member's event to the others in the project, unless a viewer may not send it. This is the hot path."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from synkora.collaboration.access import Role
from synkora.collaboration.admission import Admission
from synkora.collaboration.edited_projects import EditedProjects
from synkora.collaboration.events import Codec, Event
from synkora.collaboration.members import Member
from synkora.collaboration.presence import Presence
from synkora.engine.message import Message
from synkora.sockets import packets
from synkora.sockets.errors import EventRefused
from synkora.sockets.internals import adapter_of, recovery_of
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket
from synkora.tracing import NO_TRACER, Tracer

log = structlog.get_logger(__name__)


class Relay:
    """Receives one event of the catalogue from members, and delivers it to the other members of the project.

    `members` are found by the id of their socket. `count_question` is called before a member's event makes the server
    ask the access policy, and may raise `EventRefused`: the question costs as much as a join.
    """

    __slots__ = (
        "_adapter",
        "_admission",
        "_codec",
        "_count_question",
        "_edited",
        "_event",
        "_log",
        "_members",
        "_presence",
        "_recovery",
        "_tracer",
        "_writer",
    )

    def __init__(
        self,
        event: Event,
        namespace: Namespace,
        members: Mapping[str, Member],
        admission: Admission,
        presence: Presence,
        count_question: Callable[[Member], None],
        edited: EditedProjects,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._event = event
        self._codec = Codec(event)
        self._writer = packets.EventWriter(namespace.name, event.name, volatile=event.volatile)
        self._adapter = adapter_of(namespace)
        self._recovery = None if event.volatile else recovery_of(namespace)
        self._members = members
        self._admission = admission
        self._presence = presence
        self._count_question = count_question
        self._edited = edited
        self._tracer = tracer
        self._log = log.bind()  # a fifth of the time of a call of `log`, which looks up its configuration
        namespace.route(event.name, self._codec.decode, self.receive)

    def receive(self, socket: Socket, payload: Any, attachments: tuple[bytes, ...]) -> Awaitable[None] | None:
        """Relay a member's event, immediately or when the returned awaitable is done. Raises `EventRefused`."""
        event = self._event
        member = self._members[socket.id]
        project_id: str = payload.projectId
        role = member.projects.get(project_id)
        if role is None and not event.edits and not self._admission.is_joining(member, project_id):
            raise EventRefused(f"{event.name}: join the project first")
        delivery = self._codec.deliver(payload, member.sender)
        message: Message | packets.Draft
        if self._recovery is None:
            message = self._writer.write(delivery, attachments)
        else:
            message = self._writer.draft(delivery, attachments, self._codec.key(payload))
        if role is not None and project_id not in member.pending:
            self._deliver(member, project_id, message, role)
            return None
        if self._admission.must_ask(member, project_id):
            self._count_question(member)
        # Only the delivery waits for the answer. The client's own payload, which may be larger, is not kept.
        deliver = partial(self._deliver_after_answer, member, project_id, message)
        return self._admission.relay(member, project_id, event.name, message.size, deliver)

    def _deliver_after_answer(
        self, member: Member, project_id: str, message: Message | packets.Draft, role: Role
    ) -> None:
        if self._event.edits or project_id in member.projects:
            self._deliver(member, project_id, message, role)

    def _deliver(self, member: Member, project_id: str, message: Message | packets.Draft, role: Role) -> None:
        event = self._event
        if event.edits and not role.may_write:
            raise EventRefused(f"{event.name}: viewers may not change the project", projectId=project_id)
        if event.volatile and member.is_draining:
            return  # the others have removed the member's cursor: this event would draw the cursor again
        work = member.rate_limiter.work
        if work is not None:
            if self._recovery is not None:
                self._edited.check(member, project_id)
            work.count_delivery(message.size, self._presence.connections(project_id))
        if isinstance(message, Message):
            self._adapter.relay(message, project_id, member.socket.id)
        elif self._recovery is not None:
            if work is not None and self._recovery.log.is_shared:
                work.count_shared()
            rooms, except_rooms = (project_id,), (member.socket.id,)
            if self._tracer is NO_TRACER:
                self._recovery.publish(message, rooms, except_rooms, members_only=True)
            else:
                with self._tracer.publish("client", event.name, project_id) as trace:
                    self._recovery.publish(message, rooms, except_rooms, members_only=True, trace=trace)
        if event.logged:
            self._log.debug(
                "relayed",
                what=event.logged,
                projectId=project_id,
                userName=member.user.name,
                userId=member.user.id,
                socketId=member.socket.id,
            )
