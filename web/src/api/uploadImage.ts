/** `POST /api/images`: store a picture that videos can begin from. The same picture gets the same id. */
import { at } from '../lib/prefix';
import { call } from './client';
import type { ImageView } from './schema';

export const uploadImage = (file: Blob) => call<ImageView>('POST', '/api/images', { file });

/** The address of the small version of a stored picture. */
export const thumbnailOf = (id: string): string => at(`/api/images/${encodeURIComponent(id)}/thumbnail`);
