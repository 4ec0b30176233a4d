/**
 * One way to speak with the API: JSON in, JSON out, and every refusal an ApiError that says what to do.
 *
 * Nothing here names another origin. Changes carry the session's CSRF token when there is one.
 */
import type { FieldError, ProblemBody } from './schema';

/** A refusal of the API, or its silence (`status` 0). */
export class ApiError extends Error {
  readonly status: number;
  /** What is wrong with which field of the request. */
  readonly fields: FieldError[];
  /** Seconds after which another try makes sense. */
  readonly retryAfterS: number | null;

  constructor(message: string, status: number, fields: FieldError[] = [], retryAfterS: number | null = null) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.fields = fields;
    this.retryAfterS = retryAfterS;
  }

  /** The fleet could not be reached at all. */
  get isOffline(): boolean {
    return this.status === 0;
  }

  /** Nobody is signed in, or the session has ended. */
  get isUnauthenticated(): boolean {
    return this.status === 401;
  }
}

let csrfToken: string | null = null;

/** Remembers the token that proves to the API that this page, and no other site, asks. */
export function setCsrfToken(token: string | null | undefined): void {
  csrfToken = token ?? null;
}

type Query = Record<string, string | number | boolean | null | undefined>;

/** What a call may add to its method and path. */
export interface CallOptions {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
  idempotencyKey?: string;
}

/** `path` with the parameters that have a value. */
export function withQuery(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

/** Calls the API; throws an ApiError for everything but success. */
export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (options.body !== undefined) headers['content-type'] = 'application/json';
  if (options.idempotencyKey) headers['idempotency-key'] = options.idempotencyKey;
  if (method !== 'GET' && csrfToken) headers['x-csrf-token'] = csrfToken;
  let response: Response;
  try {
    response = await fetch(withQuery(path, options.query), {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError('The fleet cannot be reached. Check that it runs; this page tries again by itself.', 0);
  }
  if (!response.ok) throw await refusal(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function refusal(response: Response): Promise<ApiError> {
  const retryAfter = Number(response.headers.get('retry-after'));
  const retryAfterS = Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : null;
  const problem = (await response.json().catch(() => null)) as Partial<ProblemBody> | null;
  const message = sentence(problem?.detail ?? problem?.title ?? `The fleet answered with status ${response.status}.`);
  return new ApiError(message, response.status, problem?.errors ?? [], retryAfterS);
}

/** First letter large, full stop at the end: the API writes for logs and programs too. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed) return trimmed;
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** A value that no other submission has. `crypto.randomUUID` is missing on plain-HTTP origins, this is not. */
export function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
