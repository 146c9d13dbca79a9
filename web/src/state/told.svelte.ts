import { untrack } from "svelte";

import { FEEDS, type FeedName } from "./feeds";
import { Lanes } from "./lanes.svelte";
import { Replay } from "./replay.svelte";
import { travel } from "./travel.svelte";

/** What is said at the shown moment: by the feeds now, or by the record of then. */
export class Told {
  readonly now = new Lanes();
  readonly #then = new Replay(() => ({ atMs: travel.atMs ?? Date.now(), speed: travel.playing ? travel.speed : null }));

  get shown(): Lanes {
    return travel.isPast ? this.#then.lanes : this.now;
  }

  /** The lanes of the past follow the slider, for as long as they may; the answer ends it. */
  follow(isWanted: (name: FeedName) => boolean, isRefused: () => boolean): () => void {
    let jumps = 0;
    let feeds = "";
    return $effect.root(() => {
      $effect(() => {
        void [travel.playing, travel.speed];
        const [isPast, moved, refused] = [travel.isPast, travel.jumps, isRefused()];
        const wanted = FEEDS.filter((name) => name !== "general" && isWanted(name));
        untrack(() => {
          const isJump = moved !== jumps || feeds !== wanted.join();
          [jumps, feeds] = [moved, wanted.join()];
          if (!isPast || refused) this.#then.stop();
          else if (isJump) this.#then.jump(wanted);
          else this.#then.goOn();
        });
      });
      return () => this.#then.stop();
    });
  }
}
