/** The seed: empty means a new random one each time; the same number gives the same video. */
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
          <IconButton icon="dice" label="Random seed" className="border border-line" onClick={roll} />
          {value && <IconButton icon="close" label="Clear the seed" onClick={() => change({ seed: '' })} />}
        </div>
      )}
    </Field>
  );
}
