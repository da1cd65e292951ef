/** The jobs that exist, what they carry, and the door through which a use case asks for one. */

/** Work on one thing, asked for by the code that made the thing. The row is the truth; the job is a wake-up. */
export interface Jobs {
  /** Returns at once: a queue that is down must not hold a request, and the sweep finds what was lost. */
  wake(job: WakeUp): void;
  /** Rejects where the queue does not answer; for /readyz. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export type WakeUp =
  | { name: 'handle-stripe-event'; eventId: string }
  | { name: 'run-workflow'; workflowId: string };
