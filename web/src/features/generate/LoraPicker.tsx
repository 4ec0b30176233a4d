/** Adapters: the chosen ones with a slider each, and a search for more. Hidden while the model has none. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { listLoras } from '../../api/listLoras';
import type { LoraView } from '../../api/schema';
import { bytes } from '../../lib/format';
import { keys } from '../../lib/keys';
import { Field, FieldNote } from '../../ui/Field';
import type { Draft } from './draft';
import { type DraftLora, LORAS_MAX } from './loras';

/** Most results that the search shows. */
const SHOWN_MAX = 6;

interface Props {
  model: string;
  chosen: DraftLora[];
  error: string | undefined;
  change: (part: Partial<Draft>) => void;
}

/** One entry a name: the caller's own adapter hides a shared one of the same name, as it does for the API. */
function byName(loras: LoraView[]): LoraView[] {
  return loras.filter((lora, at) => loras.findIndex(({ name }) => name === lora.name) === at);
}

const note = ({ description, bytes: size, sampling, shared }: LoraView): string =>
  [description, typeof sampling.steps === 'number' && `${sampling.steps} steps`, bytes(size), shared && 'shared'].filter(Boolean).join(' · ');

function Chosen({ lora, set, remove }: { lora: DraftLora; set: (scale: number) => void; remove: () => void }) {
  return (
    <li className="flex items-center gap-3 text-sm">
      <span className="min-w-0 flex-1 truncate font-medium">{lora.name}</span>
      <input
        type="range"
        className="w-28 accent-accent"
        min={-2}
        max={2}
        step={0.05}
        value={lora.scale}
        aria-label={`Scale of ${lora.name}`}
        onChange={(event) => set(Number(event.target.value))}
      />
      <output className="num w-10 text-right">{lora.scale.toFixed(2)}</output>
      <button type="button" className="hint underline" aria-label={`Remove ${lora.name}`} onClick={remove}>
        Remove
      </button>
    </li>
  );
}

export function LoraPicker({ model, chosen, error, change }: Props) {
  const [search, setSearch] = useState('');
  const { data } = useQuery({ queryKey: keys.loras(model), queryFn: ({ signal }) => listLoras(model, signal), staleTime: 30_000 });
  const known = byName(data?.loras ?? []);
  if (known.length === 0 && chosen.length === 0) return null;
  const wanted = search.trim().toLowerCase();
  const isChosen = (name: string) => chosen.some((lora) => lora.name === name);
  const found = known.filter(({ name, description }) => !isChosen(name) && `${name} ${description}`.toLowerCase().includes(wanted));
  const set = (loras: DraftLora[]) => change({ loras });
  return (
    <fieldset className="space-y-2" aria-label="Adapters">
      {chosen.length > 0 && (
        <ul className="space-y-1.5">
          {chosen.map((lora) => (
            <Chosen
              key={lora.name}
              lora={lora}
              set={(scale) => set(chosen.map((each) => (each.name === lora.name ? { ...each, scale } : each)))}
              remove={() => set(chosen.filter((each) => each.name !== lora.name))}
            />
          ))}
        </ul>
      )}
      {error && <FieldNote text={error} />}
      {chosen.length < LORAS_MAX && (
        <Field label="Adapters (LoRA)" hint={`Change the style or the speed; up to ${LORAS_MAX}.`}>
          {(attributes) => (
            <input {...attributes} type="search" className="input" placeholder="Search" value={search} onChange={(event) => setSearch(event.target.value)} />
          )}
        </Field>
      )}
      {chosen.length < LORAS_MAX && (
        <ul className="flex flex-wrap gap-1.5">
          {found.slice(0, SHOWN_MAX).map((lora) => (
            <li key={lora.id}>
              <button type="button" className="rounded-md border border-line bg-surface px-2 py-1 text-xs hover:border-line-strong" title={note(lora)} onClick={() => set([...chosen, { name: lora.name, scale: 1 }])}>
                + {lora.name}
              </button>
            </li>
          ))}
        </ul>
      )}
    </fieldset>
  );
}
