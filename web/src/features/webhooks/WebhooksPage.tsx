/** Webhooks: who is notified of what, the secret of the signatures, and the log of deliveries. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { deleteWebhook, getSecret, listWebhooks, rotateSecret } from '../../api/webhooks';
import type { WebhookSecretView, WebhookView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { Button, IconButton } from '../../ui/Button';
import { Chip } from '../../ui/Chip';
import { Notice } from '../../ui/Notice';
import { toast, toastError } from '../../ui/toast';
import { AddWebhook } from './AddWebhook';
import { Deliveries } from './Deliveries';

export default function WebhooksPage() {
  const found = useQuery({ queryKey: keys.webhooks, queryFn: ({ signal }) => listWebhooks(signal) });
  const webhooks = found.data?.webhooks;
  return (
    <div className="space-y-5">
      <h1 className="text-lg font-semibold tracking-tight">Webhooks</h1>
      {found.error && <Notice tone="bad" title="Could not load the webhooks">{found.error.message}</Notice>}
      <section aria-label="Receivers" className="space-y-3">
        {webhooks?.length === 0 && <p className="hint">Nobody is notified yet. Single videos may still name a webhook of their own.</p>}
        <ul className="space-y-2">
          {webhooks?.map((webhook) => (
            <li key={webhook.webhook_id} className="card flex items-center gap-3 p-3">
              <Webhook webhook={webhook} />
            </li>
          ))}
        </ul>
        <AddWebhook />
      </section>
      <Secret />
      <Deliveries />
    </div>
  );
}

function Webhook({ webhook }: { webhook: WebhookView }) {
  const client = useQueryClient();
  const remove = async () => {
    try {
      await deleteWebhook(webhook.webhook_id);
      toast('Webhook deleted.');
    } catch (error) {
      toastError(error);
    }
    await client.invalidateQueries({ queryKey: keys.webhooks });
  };
  return (
    <>
      <div className="min-w-0 flex-1">
        <p className="num text-sm font-medium break-all">{webhook.url}</p>
        <p className="mt-1 flex flex-wrap gap-1.5">
          {webhook.events.map((event) => (
            <Chip key={event}>{event}</Chip>
          ))}
          {webhook.key_id && <Chip tone="accent">one API key only</Chip>}
          {webhook.disabled_at && <Chip tone="bad">off: the receiver responded with 410 Gone</Chip>}
        </p>
      </div>
      <IconButton icon="trash" label={`Delete ${webhook.url}`} onClick={() => void remove()} />
    </>
  );
}

/** The secret is fetched only when somebody asks to see it. */
function Secret() {
  const [secret, setSecret] = useState<WebhookSecretView | null>(null);
  const show = async (get: () => Promise<WebhookSecretView>) => {
    try {
      setSecret(await get());
    } catch (error) {
      toastError(error);
    }
  };
  return (
    <section aria-labelledby="secret" className="card space-y-2 p-4">
      <h2 id="secret" className="text-sm font-semibold">
        Secret
      </h2>
      <p className="hint">Receivers verify the signatures of deliveries with it. After a rotation the old one stays valid for a while.</p>
      {secret && <p className="num text-sm break-all">{secret.secret}</p>}
      <div className="flex flex-wrap gap-2">
        {!secret && (
          <Button icon="key" onClick={() => void show(getSecret)}>
            Show
          </Button>
        )}
        <Button icon="retry" onClick={() => void show(rotateSecret)}>
          Rotate
        </Button>
      </div>
    </section>
  );
}
