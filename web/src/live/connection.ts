/**
 * The page's one event stream, kept open for as long as the page is looked at.
 *
 * EventSource reconnects by itself after a cut, but gives up after an answer that is not a stream (503 while the fleet
 * restarts). Then a new one is opened, later and later, from behind the last event that was seen. While the page is
 * hidden for long the stream is closed: browsers allow six connections to one host, and tabs would use them up.
 */

/** A change of a job's state. */
export interface StateEvent {
  job_id: string;
  kind: string;
  detail: Record<string, unknown>;
  at: string;
}

/** How far a running job is. */
export interface ProgressEvent {
  job_id: string;
  stage: 'prepare' | 'encode' | 'denoise' | 'decode' | 'deliver';
  step: number;
  steps: number;
  skipped: number;
  remaining_s: number | null;
}

/** `connecting` at first, `live` while events come, `lost` from the first failure until it is back. */
export type LiveStatus = 'connecting' | 'live' | 'lost';

/** Who wants to know. */
export interface LiveHandlers {
  onState(event: StateEvent): void;
  onProgress(event: ProgressEvent): void;
  /** The stream is up and everything that was missed has been told. */
  onReady(): void;
  onStatus(status: LiveStatus): void;
  /** The server refuses the stream: perhaps the session has ended. */
  onRefused(): void;
}

const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 10_000;
const CLOSED = 2;

/** Opens a stream; the browser's EventSource outside of tests. */
export type OpenStream = (url: string) => EventSource;

export class LiveConnection {
  #source: EventSource | null = null;
  #lastEventId = '';
  #retryMs = RETRY_FIRST_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #status: LiveStatus = 'connecting';
  readonly #handlers: LiveHandlers;
  readonly #open: OpenStream;

  constructor(handlers: LiveHandlers, open: OpenStream = (url) => new EventSource(url)) {
    this.#handlers = handlers;
    this.#open = open;
  }

  /** Opens the stream unless it is open. */
  start(): void {
    if (this.#source) return;
    clearTimeout(this.#timer);
    const query = this.#lastEventId ? `?last_event_id=${encodeURIComponent(this.#lastEventId)}` : '';
    const source = this.#open(`/api/events${query}`);
    this.#source = source;
    source.addEventListener('state', (message) => {
      this.#seen(message);
      const event = parse<StateEvent>(message);
      if (event) this.#handlers.onState(event);
    });
    source.addEventListener('progress', (message) => {
      const event = parse<ProgressEvent>(message);
      if (event) this.#handlers.onProgress(event);
    });
    source.addEventListener('ready', (message) => {
      this.#seen(message);
      this.#retryMs = RETRY_FIRST_MS;
      this.#tell('live');
      this.#handlers.onReady();
    });
    source.addEventListener('error', () => {
      if (this.#source !== source) return;
      this.#tell('lost');
      if (source.readyState === CLOSED) this.#reopenLater();
    });
  }

  /** Closes the stream; `start` continues where it was. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** Tries now instead of at the end of the pause. */
  retryNow(): void {
    if (this.#status === 'live') return;
    this.stop();
    this.start();
  }

  #reopenLater(): void {
    this.stop();
    this.#handlers.onRefused();
    this.#timer = setTimeout(() => this.start(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MOST_MS);
  }

  #seen(message: MessageEvent): void {
    if (message.lastEventId) this.#lastEventId = message.lastEventId;
  }

  #tell(status: LiveStatus): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#handlers.onStatus(status);
  }
}

function parse<T>(message: MessageEvent): T | null {
  try {
    return JSON.parse(String(message.data)) as T;
  } catch {
    return null;
  }
}
