/**
 * The page's one event stream, open while the page is visible.
 *
 * EventSource reconnects after a broken connection but gives up after a response that is not a stream (503 while the
 * fleet restarts). In that case a new one is opened with increasing delays, continuing after the last event seen. The
 * stream is closed while the page stays hidden: browsers allow six connections per host, and tabs would use them up.
 *
 * A connection that a router has dropped looks open for ever. The API therefore sends `ping` regularly, and a stream
 * without any event for a while is reopened. An older API sends no `ping`, so nothing is concluded from its silence.
 */
import { at } from '../lib/prefix';

/** A change of a job's state. */
export interface StateEvent {
  job_id: string;
  kind: string;
  detail: Record<string, unknown>;
  at: string;
}

/** Progress of a running job. */
export interface ProgressEvent {
  job_id: string;
  stage: 'prepare' | 'encode' | 'denoise' | 'decode' | 'interpolate' | 'deliver';
  step: number;
  steps: number;
  skipped: number;
  remaining_s: number | null;
}

/** A picture of a running job. */
export interface PreviewEvent {
  job_id: string;
  step: number;
  steps: number;
  /** An animated WebP as a data URL. */
  image: string;
}

/** `connecting` at first, `live` while events arrive, `lost` from the first failure until reconnected. */
export type LiveStatus = 'connecting' | 'live' | 'lost';

/** Callbacks for events and status changes. */
export interface LiveHandlers {
  onState(event: StateEvent): void;
  onProgress(event: ProgressEvent): void;
  onPreview(event: PreviewEvent): void;
  /** The stream is open and all missed events have been delivered. */
  onReady(): void;
  onStatus(status: LiveStatus): void;
  /** The server refused the stream; the session may have expired. */
  onRefused(): void;
}

const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 10_000;
/** Three times the pause between two pings. */
const SILENT_MOST_MS = 45_000;
const CLOSED = 2;

/** Opens a stream: the browser's EventSource, except in tests. */
export type OpenStream = (url: string) => EventSource;

export class LiveConnection {
  #source: EventSource | null = null;
  #lastEventId = '';
  #retryMs = RETRY_FIRST_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  /** Whether this API sends pings. */
  #hasPinged = false;
  #status: LiveStatus = 'connecting';
  readonly #handlers: LiveHandlers;
  readonly #open: OpenStream;

  constructor(handlers: LiveHandlers, open: OpenStream = (url) => new EventSource(url)) {
    this.#handlers = handlers;
    this.#open = open;
  }

  /** Opens the stream unless it is already open. */
  start(): void {
    if (this.#source) return;
    clearTimeout(this.#timer);
    const query = this.#lastEventId ? `?last_event_id=${encodeURIComponent(this.#lastEventId)}` : '';
    const source = this.#open(at(`/api/events${query}`));
    this.#source = source;
    this.#watch(source);
    // An error is a sign of life, too: the browser has noticed it and reconnects.
    for (const kind of ['open', 'ping', 'state', 'progress', 'preview', 'ready', 'error']) {
      source.addEventListener(kind, () => this.#watch(source));
    }
    source.addEventListener('ping', () => {
      this.#hasPinged = true;
    });
    source.addEventListener('state', (message) => {
      this.#seen(message);
      const event = parse<StateEvent>(message);
      if (event) this.#handlers.onState(event);
    });
    source.addEventListener('progress', (message) => {
      const event = parse<ProgressEvent>(message);
      if (event) this.#handlers.onProgress(event);
    });
    source.addEventListener('preview', (message) => {
      const event = parse<PreviewEvent>(message);
      if (event) this.#handlers.onPreview(event);
    });
    source.addEventListener('ready', (message) => {
      this.#seen(message);
      this.#retryMs = RETRY_FIRST_MS;
      this.#setStatus('live');
      this.#handlers.onReady();
    });
    source.addEventListener('error', () => {
      if (this.#source !== source) return;
      this.#setStatus('lost');
      if (source.readyState !== CLOSED) return;
      this.#handlers.onRefused();
      this.#reopenLater();
    });
  }

  /** Closes the stream; `start` continues after the last event seen. */
  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  /** Reconnects immediately instead of after the delay. */
  retryNow(): void {
    if (this.#status === 'live') return;
    this.stop();
    this.start();
  }

  /** Waits for the next sign of life; without one the stream is reopened. */
  #watch(source: EventSource): void {
    if (this.#source !== source) return;
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      if (!this.#hasPinged) return;
      this.#setStatus('lost');
      this.#reopenLater();
    }, SILENT_MOST_MS);
  }

  #reopenLater(): void {
    this.stop();
    this.#timer = setTimeout(() => this.start(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MOST_MS);
  }

  #seen(message: MessageEvent): void {
    if (message.lastEventId) this.#lastEventId = message.lastEventId;
  }

  #setStatus(status: LiveStatus): void {
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
