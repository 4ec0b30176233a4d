/**
 * Shows toasts and announces them to screen readers.
 *
 * They are in the browser's top layer; otherwise a dialog would cover them. While a modal dialog is open, they are inside it,
 * because it makes everything else inert: nothing could be pressed, and screen readers would announce nothing.
 */
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { createPortal } from 'react-dom';
import { IconButton } from './Button';
import { useTopModal } from './modal';
import { dismiss, hold, release, useToasts } from './toast';

export function Toasts() {
  const toasts = useToasts();
  const dialog = useTopModal();
  const layer = useRef<HTMLDivElement>(null);
  const place = useRef<HTMLDivElement>(null);
  // One element that moves, so that the messages keep their state.
  const [host] = useState(() => document.createElement('div'));
  useLayoutEffect(() => {
    (dialog ?? place.current)?.append(host);
    return () => host.remove();
  }, [dialog, host]);
  useEffect(() => {
    // Reopened on each change, because the element opened last is on top, and moving closes it.
    layer.current?.hidePopover();
    if (toasts.length > 0) layer.current?.showPopover();
  }, [toasts, dialog]);
  const content = (
    <>
      <div aria-live="polite" className="sr-only">
        {toasts.map((toast) => (
          <p key={toast.id}>{toast.text}</p>
        ))}
      </div>
      <div
        ref={layer}
        popover="manual"
        role="region"
        aria-label="Messages"
        className="pointer-events-none inset-auto inset-x-3 bottom-4 m-0 w-auto flex-col items-center gap-2 overflow-visible border-0 bg-transparent p-0 open:flex"
      >
        {toasts.map((toast) => (
          <div
            key={toast.id}
            onPointerEnter={() => hold(toast.id)}
            onPointerLeave={() => release(toast)}
            onFocus={() => hold(toast.id)}
            onBlur={() => release(toast)}
            className={`pointer-events-auto flex max-w-lg animate-[rise_160ms_ease-out] items-center gap-3 rounded-lg py-1.5 pr-1.5 pl-4 text-sm shadow-float ${
              toast.tone === 'bad' ? 'border border-bad/40 bg-bad-soft text-bad' : 'bg-ink text-ground'
            }`}
          >
            <span aria-hidden="true" className="py-1">
              {toast.text}
            </span>
            {toast.action && (
              <button
                type="button"
                className="rounded-md px-2 py-1 font-semibold underline underline-offset-2"
                onClick={() => {
                  toast.action?.run();
                  dismiss(toast.id);
                }}
              >
                {toast.action.label}
              </button>
            )}
            <IconButton icon="close" label="Dismiss" className="!text-current hover:!bg-transparent" onClick={() => dismiss(toast.id)} />
          </div>
        ))}
      </div>
    </>
  );
  return (
    <>
      <div ref={place} />
      {createPortal(content, host)}
    </>
  );
}
