/** Passes a prompt to the form without coupling the two features. */
export interface Suggestion {
  prompt: string;
  seed: number;
}

const EVENT = 'fleet:suggest';

export function suggest(suggestion: Suggestion): void {
  window.dispatchEvent(new CustomEvent<Suggestion>(EVENT, { detail: suggestion }));
}

export function onSuggest(listener: (suggestion: Suggestion) => void): () => void {
  const heard = (event: Event) => listener((event as CustomEvent<Suggestion>).detail);
  window.addEventListener(EVENT, heard);
  return () => window.removeEventListener(EVENT, heard);
}
