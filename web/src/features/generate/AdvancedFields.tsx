/** Settings that most users leave at their defaults: every field of the table that describes a control. */
import { useState } from 'react';
import type { ModelView, SettingsView } from '../../api/schema';
import { Field } from '../../ui/Field';
import { Icon } from '../../ui/Icon';
import { type Draft, table } from './draft';
import type { FieldKey } from './fields';
import type { Control } from './kinds';
import type { FormErrors } from './request';

interface Props {
  draft: Draft;
  models: ModelView[];
  settings: SettingsView;
  errors: FormErrors;
  change: (part: Partial<Draft>) => void;
}

const shown = table.flatMap(([key, { control }]): { key: FieldKey; control: Control }[] => (control ? [{ key, control }] : []));

interface FieldProps extends Props {
  name: FieldKey;
  control: Control;
}

function Flag({ name, control, draft, change }: FieldProps) {
  return (
    <label className={`${control.isWide ? 'col-span-2 ' : ''}flex items-start gap-2 text-sm`}>
      <input
        type="checkbox"
        className="mt-1 accent-accent"
        checked={Boolean(draft[name])}
        onChange={(event) => change({ [name]: event.target.checked })}
      />
      <span>
        {control.label} <span className="hint block">{control.hint}</span>
      </span>
    </label>
  );
}

function Labelled({ name, control: { kind, label, hint, isWide, ...control }, draft, models, settings, errors, change }: FieldProps) {
  const value = String(draft[name]);
  return (
    <Field label={label} hint={hint || undefined} error={errors[name]} className={isWide ? 'col-span-2' : ''}>
      {(attributes) =>
        kind === 'choice' ? (
          <select {...attributes} className="input" value={value} onChange={(event) => change({ [name]: event.target.value })}>
            {control.options?.(settings, models).map(([option, text]) => (
              <option key={option} value={option}>
                {text}
              </option>
            ))}
          </select>
        ) : (
          <input
            {...attributes}
            {...(kind === 'number' ? { className: 'input num', inputMode: 'decimal', autoComplete: 'off' } : { className: 'input' })}
            placeholder={control.placeholder?.(settings)}
            value={value}
            onChange={(event) => change({ [name]: event.target.value })}
          />
        )
      }
    </Field>
  );
}

export function AdvancedFields(props: Props) {
  const isWrong = shown.some(({ key }) => Boolean(props.errors[key]));
  const [isOpen, setIsOpen] = useState(false);
  const [wasWrong, setWasWrong] = useState(false);
  // An error opens the panel. It stays open when the error disappears, because the user is typing in it then.
  if (isWrong !== wasWrong) {
    setWasWrong(isWrong);
    if (isWrong) setIsOpen(true);
  }
  return (
    <details className="group rounded-lg border border-line" open={isOpen} onToggle={(event) => setIsOpen(event.currentTarget.open)}>
      <summary className="flex list-none items-center justify-between rounded-lg px-3 py-2 text-sm font-medium hover:bg-raised">
        Advanced
        <Icon name="chevron" className="size-4 text-muted transition-transform group-open:rotate-180" />
      </summary>
      <div className="grid grid-cols-2 gap-3.5 border-t border-line p-3">
        {shown
          .filter(({ control }) => !control.isHidden?.(props.models))
          .map(({ key, control }) => {
            const Shown = control.kind === 'flag' ? Flag : Labelled;
            return <Shown key={key} {...props} name={key} control={control} />;
          })}
      </div>
    </details>
  );
}
