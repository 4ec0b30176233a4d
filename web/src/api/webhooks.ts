/** `/api/webhooks`: receivers, the secret of their signatures, and the log of deliveries. */
import { call } from './client';
import type { DeliveryListView, PutWebhook, WebhookListView, WebhookSecretView, WebhookView } from './schema';

export const listWebhooks = (signal?: AbortSignal) => call<WebhookListView>('GET', '/api/webhooks', { signal });

export const putWebhook = (webhook: PutWebhook) => call<WebhookView>('POST', '/api/webhooks', { body: webhook });

export const deleteWebhook = (id: string) => call<void>('DELETE', `/api/webhooks/${id}`);

export const getSecret = () => call<WebhookSecretView>('GET', '/api/webhooks/secret');

export const rotateSecret = () => call<WebhookSecretView>('POST', '/api/webhooks/secret/rotate');

export const listDeliveries = (query: { state?: string; cursor?: string }, signal?: AbortSignal) =>
  call<DeliveryListView>('GET', '/api/webhooks/deliveries', { query, signal });

export const redeliver = (id: string) => call<void>('POST', `/api/webhooks/deliveries/${id}/redeliver`);
