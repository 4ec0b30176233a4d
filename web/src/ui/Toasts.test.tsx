/**
 * Messages are inside the topmost modal dialog, which makes everything else inert, and without one in their usual place.
 *
 * @vitest-environment jsdom
 */
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { useLayoutEffect, useRef } from 'react';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { openModal } from './modal';
import { Toasts } from './Toasts';
import { toast } from './toast';

// jsdom has neither popovers nor modal dialogs.
beforeAll(() => {
  Object.assign(HTMLElement.prototype, {
    showPopover(this: HTMLElement) {
      if (!this.isConnected) throw new Error('a popover must be in the document');
    },
    hidePopover: () => undefined,
  });
  Object.assign(HTMLDialogElement.prototype, { showModal: () => undefined, close: () => undefined });
});
afterEach(cleanup);

function Opened({ name }: { name: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => (dialog.current ? openModal(dialog.current) : undefined), []);
  return <dialog ref={dialog} data-testid={name} />;
}

const page = (dialogs: string[]) => (
  <>
    <Toasts />
    {dialogs.map((name) => (
      <Opened key={name} name={name} />
    ))}
  </>
);

/** The dialogs that have the messages and the announcements. */
const homes = () =>
  ['[role="region"]', '[aria-live]'].map((part) => {
    const found = document.querySelector(part);
    if (!found) throw new Error(`${part} is missing`);
    return found.closest('dialog')?.dataset.testid ?? 'page';
  });

it('follows the topmost dialog, and can be dismissed there', () => {
  const { rerender } = render(page([]));
  act(() => toast('Video queued again.'));
  expect(homes()).toEqual(['page', 'page']);
  rerender(page(['details']));
  expect(homes()).toEqual(['details', 'details']);
  rerender(page(['details', 'question']));
  expect(homes()).toEqual(['question', 'question']);
  rerender(page(['details']));
  expect(homes()).toEqual(['details', 'details']);
  expect(document.querySelector('[aria-live]')?.textContent).toBe('Video queued again.');
  fireEvent.click(screen.getByLabelText('Dismiss'));
  expect(document.querySelector('[aria-live]')?.textContent).toBe('');
  rerender(page([]));
  expect(homes()).toEqual(['page', 'page']);
});

it('keeps a message whose dialog is closed', () => {
  const { rerender } = render(page(['details']));
  act(() => toast('Video deleted.'));
  expect(homes()).toEqual(['details', 'details']);
  rerender(page([]));
  expect(homes()).toEqual(['page', 'page']);
  expect(document.querySelector('[aria-live]')?.textContent).toBe('Video deleted.');
  fireEvent.click(screen.getByLabelText('Dismiss'));
});
