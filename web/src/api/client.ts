/**
 * The one way to call the API: JSON or a file in, JSON out; every failure is an ApiError that says what to do.
 *
 * All calls go to the page's own origin. Requests other than GET carry the session's CSRF token, if there is one.
 */
import { at } from '../lib/prefix';
import type { FieldError, ProblemBody } from './schema';

/** An error response from the API, or no response at all (`status` 0). */
export class ApiError extends Error {
  readonly status: number;
  /** The request fields that were rejected, with the reason for each. */
  readonly fields: FieldError[];
  /** Seconds to wait before retrying, if the API said so. */
  readonly retryAfterS: number | null;

  constructor(message: string, status: number, fields: FieldError[] = [], retryAfterS: number | null = null) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.fields = fields;
    this.retryAfterS = retryAfterS;
  }

  /** The fleet could not be reached. */
  get isOffline(): boolean {
    return this.status === 0;
  }

  /** Not signed in, or the session has expired. */
  get isUnauthenticated(): boolean {
    return this.status === 401;
  }
}

let csrfToken: string | null = null;

/** Stores the token that proves to the API that a request comes from this page and not from another site. */
export function setCsrfToken(token: string | null | undefined): void {
  csrfToken = token ?? null;
}

type Query = Record<string, string | number | boolean | null | undefined>;

/** Optional parts of a call. */
export interface CallOptions {
  query?: Query;
  body?: unknown;
  /** Sent as it is, in place of a body. */
  file?: Blob;
  signal?: AbortSignal;
  idempotencyKey?: string;
}

/** `path` with those query parameters that have a value. */
export function withQuery(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

/** Calls the API; throws an ApiError unless the call succeeds. */
export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (options.body !== undefined) headers['content-type'] = 'application/json';
  if (options.file) headers['content-type'] = options.file.type || 'application/octet-stream';
  if (options.idempotencyKey) headers['idempotency-key'] = options.idempotencyKey;
  if (method !== 'GET' && csrfToken) headers['x-csrf-token'] = csrfToken;
  let response: Response;
  try {
    response = await fetch(withQuery(at(path), options.query), {
      method,
      headers,
      body: options.file ?? (options.body === undefined ? undefined : JSON.stringify(options.body)),
      signal: options.signal,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError('The fleet cannot be reached. Check that it is running; this page retries automatically.', 0);
  }
  if (!response.ok) throw await refusal(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function refusal(response: Response): Promise<ApiError> {
  const retryAfter = Number(response.headers.get('retry-after'));
  const retryAfterS = Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : null;
  const problem = (await response.json().catch(() => null)) as Partial<ProblemBody> | null;
  const message = sentence(problem?.detail ?? problem?.title ?? `The fleet returned status ${response.status}.`);
  return new ApiError(message, response.status, problem?.errors ?? [], retryAfterS);
}

/** Capitalises the first letter and adds a full stop; API messages also go to logs and come without either. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed) return trimmed;
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** A unique key for a submission. `crypto.randomUUID` is not available on plain-HTTP origins; this is. */
export function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
