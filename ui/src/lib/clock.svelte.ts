/** The time, once a second, and how far the server's clock is from ours. */
class Clock {
  now = $state(Date.now());
  #ahead = $state(0);

  /** Start ticking; the result stops it. */
  start(): () => void {
    const timer = setInterval(() => (this.now = Date.now()), 1000);
    return () => clearInterval(timer);
  }

  /** A document made at `timestamp` has just arrived. */
  hear(timestamp: string): void {
    const made = Date.parse(timestamp);
    this.now = Date.now();
    if (!Number.isNaN(made)) this.#ahead = made - this.now;
  }

  /** Seconds from `time` (ISO 8601, the server's clock) until now; NaN if it is no time. */
  since(time: string): number {
    return (this.now + this.#ahead - Date.parse(time)) / 1000;
  }
}

export const clock = new Clock();
