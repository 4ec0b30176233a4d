/** `POST /api/images`: store a picture that videos can begin from. The same picture gets the same id. */
import { call } from './client';
import type { ImageView } from './schema';

export const uploadImage = (file: Blob) => call<ImageView>('POST', '/api/images', { file });

/** The small version of a stored picture. */
export const thumbnailOf = (id: string): string => `/api/images/${encodeURIComponent(id)}/thumbnail`;
