/** The form for a new webhook. */
import { useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { ApiError } from '../../api/client';
import { putWebhook } from '../../api/webhooks';
import { keys } from '../../lib/keys';
import { Button } from '../../ui/Button';
import { Field } from '../../ui/Field';
import { toast, toastError } from '../../ui/toast';
import { useSession } from '../session/useSession';

/** The kinds of events, most useful first; the first three are chosen by default. */
const EVENTS = ['completed', 'failed', 'cancelled', 'drafted', 'running', 'queued', 'retrying', 'budget_warning', 'budget_spent'];

export function AddWebhook() {
  const client = useQueryClient();
  const hasKeys = useSession().data?.keys_required ?? false;
  const [url, setUrl] = useState('');
  const [events, setEvents] = useState(EVENTS.slice(0, 3));
  const [isOwn, setIsOwn] = useState(false);
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const toggle = (event: string) => setEvents(events.includes(event) ? events.filter((one) => one !== event) : [...events, event]);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await putWebhook({ url, events, own_jobs_only: isOwn });
      setUrl('');
      setWrong({});
      toast('Webhook saved.');
    } catch (error) {
      if (error instanceof ApiError && error.fields.length > 0) setWrong(Object.fromEntries(error.fields.map(({ field, reason }) => [field, reason])));
      else toastError(error);
    }
    await client.invalidateQueries({ queryKey: keys.webhooks });
  };
  return (
    <form onSubmit={(event) => void submit(event)} className="card space-y-3 p-4" aria-label="New webhook">
      <Field label="URL" hint="Deliveries are POST requests, signed as Standard Webhooks." error={wrong.url}>
        {(control) => <input {...control} type="url" required className="input w-full" placeholder="https://example.com/fleet" value={url} onChange={({ target }) => setUrl(target.value)} />}
      </Field>
      <fieldset>
        <legend className="label mb-1">Events</legend>
        <div className="flex flex-wrap gap-x-4 gap-y-1.5">
          {EVENTS.map((event) => (
            <label key={event} className="flex items-center gap-1.5 text-sm">
              <input type="checkbox" checked={events.includes(event)} onChange={() => toggle(event)} />
              {event}
            </label>
          ))}
        </div>
        {wrong.events && <p className="mt-1 text-xs text-bad">{wrong.events}</p>}
      </fieldset>
      {hasKeys && (
        <label className="flex items-center gap-1.5 text-sm">
          <input type="checkbox" checked={isOwn} onChange={({ target }) => setIsOwn(target.checked)} />
          Only videos submitted with my key
        </label>
      )}
      <Button type="submit" variant="primary" disabled={events.length === 0}>
        Add
      </Button>
    </form>
  );
}
