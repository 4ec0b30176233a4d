/** The seed: empty is a new one each time, a number is the same video again. */
import { IconButton } from '../../ui/Button';
import { Field } from '../../ui/Field';
import type { Draft } from './draft';

const DRAWN_BELOW = 2 ** 31;

interface Props {
  value: string;
  error: string | undefined;
  change: (part: Partial<Draft>) => void;
}

export function SeedField({ value, error, change }: Props) {
  const roll = () => change({ seed: String(Math.floor(Math.random() * DRAWN_BELOW)) });
  return (
    <Field label="Seed" error={error} hint="Same seed, same video">
      {(control) => (
        <div className="flex gap-1">
          <input
            {...control}
            className="input num"
            inputMode="numeric"
            autoComplete="off"
            placeholder="random"
            value={value}
            onChange={(event) => change({ seed: event.target.value })}
          />
          <IconButton icon="dice" label="Roll a seed" className="border border-line" onClick={roll} />
          {value && <IconButton icon="close" label="Use a random seed each time" onClick={() => change({ seed: '' })} />}
        </div>
      )}
    </Field>
  );
}
