import pytest

from synkora.app.webhooks.signing import Signer, parse_secret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of the official libraries' own tests."""
    headers = Signer([SECRET]).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_each_secret_signs() -> None:
    other = "whsec_" + "c2VjcmV0" * 4
    both = Signer([other, SECRET]).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    first, second = both["webhook-signature"].split(" ")
    assert second == SIGNATURE
    assert first.startswith("v1,")
    assert first != second


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2VjcmV0", "c2VjcmV0" * 4, "whsec_" + "c2VjcmV0" * 12])
def test_other_secrets_are_refused(secret: str) -> None:
    """24 to 64 bytes, in base64 after the prefix. The refusal does not show the secret."""
    with pytest.raises(ValueError, match="whsec_ and 24 to 64 bytes") as refusal:
        parse_secret(secret)
    assert "c2Vj" not in str(refusal.value)
