/** A labelled field: name above, hint or error below, linked for screen readers. */
import { type ReactNode, useId } from 'react';
import { Icon } from './Icon';

/** Attributes that the control must have. */
export interface ControlProps {
  id: string;
  'aria-describedby': string | undefined;
  'aria-invalid': boolean;
}

interface Props {
  label: ReactNode;
  hint?: ReactNode;
  error?: string | undefined;
  aside?: ReactNode;
  className?: string;
  children: (control: ControlProps) => ReactNode;
}

export function Field({ label, hint, error, aside, className = '', children }: Props) {
  const id = useId();
  const noteId = `${id}-note`;
  const hasNote = Boolean(error || hint);
  return (
    <div className={className}>
      <div className="mb-1 flex items-baseline justify-between gap-3">
        <label className="label" htmlFor={id}>
          {label}
        </label>
        {aside}
      </div>
      {children({ id, 'aria-describedby': hasNote ? noteId : undefined, 'aria-invalid': Boolean(error) })}
      {hasNote && (
        <div id={noteId} className="mt-1">
          {error ? <FieldNote text={error} /> : <p className="hint">{hint}</p>}
        </div>
      )}
    </div>
  );
}

/** An error message next to its field. */
export function FieldNote({ text }: { text: string }) {
  return (
    <p className="flex items-start gap-1 text-xs text-bad" role="alert">
      <Icon name="warn" className="mt-0.5 size-3.5" />
      {text}
    </p>
  );
}
