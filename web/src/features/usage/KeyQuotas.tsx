/** The fleet's active API keys with their quotas, which admins can change. Shown only where keys are required. */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ApiError } from '../../api/client';
import { listKeys, setQuota } from '../../api/keys';
import type { KeyView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { Button } from '../../ui/Button';
import { Chip } from '../../ui/Chip';
import { Field } from '../../ui/Field';
import { Notice } from '../../ui/Notice';
import { toast, toastError } from '../../ui/toast';
import { useSession } from '../session/useSession';
import { type QuotaFields, quotaBody, quotaFields, quotaWords } from './quota';

export function KeyQuotas() {
  const session = useSession().data;
  const mayChange = session?.keys_required === true && session.admin;
  const found = useQuery({ queryKey: keys.apiKeys, queryFn: ({ signal }) => listKeys(signal), enabled: mayChange });
  const active = found.data?.keys.filter((key) => !key.revoked_at);
  if (!mayChange) return null;
  return (
    <section aria-labelledby="key-quotas">
      <h2 id="key-quotas" className="mb-3 text-base font-semibold tracking-tight">
        API keys and quotas
      </h2>
      {found.error && <Notice tone="bad" title="Could not load the keys">{found.error.message}</Notice>}
      <ul className="space-y-2">
        {active?.map((key) => (
          <li key={key.key_id} className="card p-3">
            <Key apiKey={key} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Key({ apiKey }: { apiKey: KeyView }) {
  const [isOpen, setIsOpen] = useState(false);
  const name = apiKey.label || apiKey.prefix;
  return (
    <>
      <div className="flex items-center gap-3">
        <div className="min-w-0 flex-1">
          <p className="flex flex-wrap items-center gap-2 text-sm">
            <span className="font-medium break-all">{name}</span>
            {apiKey.label && <span className="num text-muted">{apiKey.prefix}…</span>}
            <Chip>{apiKey.tenant}</Chip>
            {apiKey.role === 'admin' && <Chip tone="accent">admin</Chip>}
          </p>
          <p className="hint num mt-1">{quotaWords(apiKey.quota)}</p>
        </div>
        {!isOpen && (
          <Button aria-label={`Change quota of ${name}`} onClick={() => setIsOpen(true)}>
            Change quota
          </Button>
        )}
      </div>
      {isOpen && <QuotaForm apiKey={apiKey} name={name} close={() => setIsOpen(false)} />}
    </>
  );
}

function QuotaForm({ apiKey, name, close }: { apiKey: KeyView; name: string; close: () => void }) {
  const client = useQueryClient();
  const [fields, setFields] = useState(() => quotaFields(apiKey.quota));
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const save = useMutation({
    mutationFn: () => setQuota(apiKey.key_id, quotaBody(fields)),
    onSuccess: async () => {
      await Promise.all([keys.apiKeys, keys.quota].map((queryKey) => client.invalidateQueries({ queryKey })));
      toast('Quota saved.');
      close();
    },
    onError: (error) => {
      if (error instanceof ApiError && error.fields.length > 0) setWrong(Object.fromEntries(error.fields.map(({ field, reason }) => [field, reason])));
      else toastError(error);
    },
  });
  const amount = (field: keyof QuotaFields, label: string) => (
    <Field label={label} hint="Empty: no limit" error={wrong[field]}>
      {(control) => (
        <input
          {...control}
          className="input num w-full"
          type="number"
          min="0"
          step="any"
          inputMode="decimal"
          value={fields[field]}
          onChange={({ target }) => setFields({ ...fields, [field]: target.value })}
        />
      )}
    </Field>
  );
  return (
    <form
      aria-label={`Quota of ${name}`}
      className="mt-3 space-y-3 border-t border-line pt-3"
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      <div className="grid gap-3 sm:grid-cols-2">
        {amount('gpu_seconds_per_day', 'GPU seconds per day')}
        {amount('usd_per_day', 'US dollars per day')}
      </div>
      <p className="hint">A day begins at midnight UTC. Once a limit is reached, new videos of this key are refused until the next day.</p>
      <div className="flex gap-2">
        <Button type="submit" variant="primary" disabled={save.isPending}>
          Save
        </Button>
        <Button variant="quiet" onClick={close}>
          Cancel
        </Button>
      </div>
    </form>
  );
}
