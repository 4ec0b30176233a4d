/** A choice between a few visible values: radio buttons that look like one control. */
import { useId } from 'react';

interface Props<T extends string> {
  legend: string;
  options: { value: T; label: string; title?: string }[];
  value: T;
  onChange: (value: T) => void;
  hideLegend?: boolean;
}

export function Segmented<T extends string>({ legend, options, value, onChange, hideLegend = false }: Props<T>) {
  const name = useId();
  return (
    <fieldset>
      <legend className={hideLegend ? 'sr-only' : 'label mb-1'}>{legend}</legend>
      <div className="flex flex-wrap gap-1">
        {options.map((option) => (
          <label
            key={option.value}
            title={option.title}
            className="cursor-pointer rounded-md border border-line bg-surface px-2.5 py-1 text-sm text-muted transition-colors hover:bg-raised hover:text-ink has-checked:border-accent has-checked:bg-accent-soft has-checked:font-medium has-checked:text-accent-ink has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent"
          >
            <input
              type="radio"
              className="sr-only"
              name={name}
              value={option.value}
              checked={option.value === value}
              onChange={() => onChange(option.value)}
            />
            {option.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
