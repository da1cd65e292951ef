import { type DestinationStream, pino } from 'pino';

/** Where a chunk goes out before its time. */
const CHUNK_CHARACTERS = 16_000;
/** More than a chunk can have: three bytes of UTF-8 for each character. */
const CHUNK_BYTES_MAX = 65_535;
const FLUSH_MS = 200;

/**
 * Lines for the standard output, in one write for many, at the latest after FLUSH_MS. Pino's own destination can gather
 * as well, but copies all that it has gathered at every line: 2 µs and 8 kB of garbage more a line.
 */
class GatheredLines implements DestinationStream {
  // It starts to write where it is told to and never by itself: what it is given last is written before the exit goes on.
  readonly #out = pino.destination({
    sync: false,
    minLength: CHUNK_BYTES_MAX,
    maxWrite: CHUNK_BYTES_MAX + 1,
  });
  #lines = '';

  constructor() {
    setInterval(() => this.flush(), FLUSH_MS).unref();
    // Also where process.exit() or an exception ends it.
    process.on('exit', () => this.flushSync());
  }

  write(line: string): void {
    this.#lines += line;
    if (this.#lines.length >= CHUNK_CHARACTERS) this.flush();
  }

  flush(done?: (error?: Error) => void): void {
    this.#handOn();
    this.#out.flush(done);
  }

  /** Pino asks for it after a fatal line. */
  flushSync(): void {
    this.#handOn();
    this.#out.flushSync();
  }

  #handOn(): void {
    if (this.#lines === '') return;
    const lines = this.#lines;
    this.#lines = '';
    this.#out.write(lines);
  }
}

let ofProcess: GatheredLines | undefined;

/** The one of this process: a second would write between the lines of the first. */
export function gatheredLines(): DestinationStream {
  ofProcess ??= new GatheredLines();
  return ofProcess;
}
