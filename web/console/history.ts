/** The samples of the last minutes of each instance, including stopped ones. */

import type { Overview, Sample } from "./answers";

export class History {
  private readonly samples = new Map<string, Sample[]>();

  /** Add new samples, and drop those that are older than the server keeps. */
  add({ instances, keeps }: Overview): void {
    for (const { id, samples } of instances) {
      const known = this.samples.get(id) ?? [];
      const newest = known.at(-1)?.at ?? 0;
      this.samples.set(id, [...known, ...samples.filter(({ at }) => at > newest)]);
    }
    const oldest = this.newest() - keeps;
    for (const [id, known] of this.samples) {
      const kept = known.filter(({ at }) => at >= oldest);
      if (kept.length > 0) this.samples.set(id, kept);
      else this.samples.delete(id);
    }
  }

  /** The positions for the server, which sends only newer samples. */
  known(): string {
    return [...this.samples].map(([id, samples]) => `${id}:${samples.at(-1)?.at}`).join();
  }

  /** The time of the newest sample of all; 0 where there is none. */
  newest(): number {
    return Math.max(0, ...[...this.samples.values()].map((samples) => samples.at(-1)?.at ?? 0));
  }

  /** The samples of one instance, or of each. */
  of(instance: string | null): Sample[][] {
    return instance === null ? [...this.samples.values()] : [this.samples.get(instance) ?? []];
  }
}
