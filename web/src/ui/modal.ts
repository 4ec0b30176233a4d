/** The modal dialogs that are open. Everything outside the topmost one is inert, so messages are shown inside it (Toasts). */
import { useSyncExternalStore } from 'react';

let opened: HTMLDialogElement[] = [];
const listeners = new Set<() => void>();

function set(next: HTMLDialogElement[]): void {
  opened = next;
  for (const listener of listeners) listener();
}

/** Opens a dialog above everything else; returns a function that closes it, which returns the focus to where it was. */
export function openModal(dialog: HTMLDialogElement): () => void {
  dialog.showModal();
  set([...opened, dialog]);
  return () => {
    set(opened.filter((each) => each !== dialog));
    dialog.close();
  };
}

/** The topmost open dialog. */
export const useTopModal = (): HTMLDialogElement | null =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => opened.at(-1) ?? null,
  );
