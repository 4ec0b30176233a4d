/** Shows the short messages; read out politely. */
import { IconButton } from './Button';
import { dismiss, useToasts } from './toast';

export function Toasts() {
  const toasts = useToasts();
  return (
    <div aria-live="polite" className="pointer-events-none fixed inset-x-3 bottom-4 z-50 flex flex-col items-center gap-2">
      {toasts.map((toast) => (
        <div
          key={toast.id}
          className={`pointer-events-auto flex max-w-lg animate-[rise_160ms_ease-out] items-center gap-3 rounded-lg py-1.5 pr-1.5 pl-4 text-sm shadow-float ${
            toast.tone === 'bad' ? 'border border-bad/40 bg-bad-soft text-bad' : 'bg-ink text-ground'
          }`}
        >
          <span className="py-1">{toast.text}</span>
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
  );
}
