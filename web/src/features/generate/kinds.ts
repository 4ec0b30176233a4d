/** The kinds of form fields: how a value is shown, validated, and translated to and from the request. */
import type { LimitsView, ModelView, SettingsView, VideoRequest } from '../../api/schema';

/** The limits that a draft must respect. */
export interface Rules {
  limits: LimitsView;
  model: ModelView;
}

/** How the field is shown under Advanced. */
export interface Control {
  kind: 'number' | 'text' | 'choice' | 'flag';
  label: string;
  hint: string;
  placeholder?: (settings: SettingsView) => string;
  /** Of a choice: value and label. */
  options?: (settings: SettingsView, models: ModelView[]) => [value: string, label: string][];
  /** Takes the whole width. */
  isWide?: boolean;
  /** Hidden when there is nothing to choose. */
  isHidden?: (models: ModelView[]) => boolean;
}

/** One field of the form: `V` is its value in the draft, `N` its name in the request. */
export interface FormField<V, N extends keyof VideoRequest = keyof VideoRequest> {
  name: N;
  /** Its value in an empty form. */
  empty: V;
  /** From a job's request to the form. */
  read: (value: VideoRequest[N]) => V;
  /** From the form to a request. */
  write: (value: V) => VideoRequest[N];
  /** Whether a value that the browser stored is valid. */
  isSane?: (value: V) => boolean;
  /** What is wrong with the value. */
  check?: (value: V, rules: Rules) => string | undefined;
  /** Shown under Advanced; fields without it have a component of their own. */
  control?: Control;
}

type Check = NonNullable<FormField<string>['check']>;
type Name = keyof VideoRequest;
type Named<N extends Name, V> = Partial<Omit<FormField<V, N>, 'name' | 'empty'>>;

export const chars = (text: string): number => Array.from(text).length;

/** A whole number that may be left empty. */
export function whole(from: (rules: Rules) => [min: number, max: number], otherwise: string): Check {
  return (text, rules) => {
    if (!text.trim()) return undefined;
    const [min, max] = from(rules);
    const value = Number(text);
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
    return Number.isInteger(value) && value >= min && value <= max ? undefined : `Enter a whole number ${range}, or leave it empty for ${otherwise}.`;
  };
}

const SEED_MAX = 2n ** 64n - 1n;

const isSeed = (text: string): boolean => /^\d{1,20}$/.test(text) && BigInt(text) <= SEED_MAX;

/** A seed: up to 64 bits, more than a number holds exactly. */
export const checkSeed: Check = (text) =>
  !text.trim() || isSeed(text.trim()) ? undefined : `Enter a whole number from 0 to ${SEED_MAX}, or leave it empty for a random seed.`;

/** A seed for the request: a number where that is exact, otherwise its digits. */
export function seedOf(text: string): VideoRequest['seed'] {
  if (!isSeed(text.trim())) return null;
  const seed = BigInt(text.trim());
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : String(seed);
}

/** A number. */
export function decimal(from: (rules: Rules) => [min: number, max: number]): Check {
  return (text, rules) => {
    const [min, max] = from(rules);
    const value = Number(text);
    return text.trim() && value >= min && value <= max ? undefined : `Enter a number from ${min} to ${max}.`;
  };
}

/** A number as text. Empty text is `unset`, which is what the API calls the absence of a choice. */
export function numberField<N extends Name>(name: N, unset: number | null, empty: string, more: Named<N, string>): FormField<string, N> {
  return {
    name,
    empty,
    read: (value) => (value === undefined || value === unset ? empty : String(value ?? '')),
    write: (text) => (text.trim() ? Number(text) : unset) as VideoRequest[N],
    ...more,
  };
}

/** One of a few words; the empty one is null. */
export function choiceField<N extends Name, W extends string>(name: N, words: readonly W[], more: Named<N, W> = {}): FormField<W, N> {
  return {
    name,
    empty: words[0] as W,
    read: (value) => (value ?? '') as W,
    write: (word) => (word || null) as VideoRequest[N],
    isSane: (word) => words.includes(word),
    ...more,
  };
}

/** Text; empty is null. */
export function textField<N extends Name>(name: N, empty: string, more: Named<N, string> = {}): FormField<string, N> {
  return {
    name,
    empty,
    read: (value) => (value ?? '') as string,
    write: (text) => (text.trim() || null) as VideoRequest[N],
    ...more,
  };
}

/** A checkbox. */
export function flagField<N extends Name>(name: N, empty: boolean, more: Named<N, boolean>): FormField<boolean, N> {
  return { name, empty, read: (value) => (value ?? empty) as boolean, write: (value) => value as VideoRequest[N], ...more };
}
