/** The picture that the video begins from: dropped, pasted or chosen, uploaded at once, shown as the video will crop it. */
import { useMutation } from '@tanstack/react-query';
import { type DragEvent, useEffect, useId, useRef, useState } from 'react';
import type { ModelView } from '../../api/schema';
import { thumbnailOf, uploadImage } from '../../api/uploadImage';
import { keys } from '../../lib/keys';
import { Button } from '../../ui/Button';
import { FieldNote } from '../../ui/Field';
import type { Draft } from './draft';
import { ACCEPTED, aspectOf, pictureOf, takesImage } from './image';

interface Props {
  draft: Draft;
  model: ModelView;
  error: string | undefined;
  change: (part: Partial<Draft>) => void;
}

/** Only for models that take a picture. */
export function ImagePicker(props: Props) {
  return takesImage(props.model) ? <Picker {...props} /> : null;
}

function Picker({ draft, model, error, change }: Props) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [isOver, setIsOver] = useState(false);
  /** The id of a picture that could not be shown. */
  const [gone, setGone] = useState('');
  const isGone = draft.image !== '' && gone === draft.image;
  const upload = useMutation({
    mutationKey: keys.imageUpload,
    mutationFn: uploadImage,
    onSuccess: (image) => {
      setGone('');
      change({ image: image.id });
    },
  });
  const { mutate } = upload;

  useEffect(() => {
    // Pasting text into the prompt brings no file, so this does not get in its way.
    const pasted = (event: ClipboardEvent) => {
      const file = pictureOf(event.clipboardData?.files);
      if (!file) return;
      event.preventDefault();
      mutate(file);
    };
    document.addEventListener('paste', pasted);
    return () => document.removeEventListener('paste', pasted);
  }, [mutate]);

  const over = (is: boolean) => (event: DragEvent) => {
    event.preventDefault();
    setIsOver(is);
  };
  const dropped = (event: DragEvent) => {
    over(false)(event);
    const file = pictureOf(event.dataTransfer.files);
    if (file) mutate(file);
  };
  const remove = () => {
    upload.reset();
    change({ image: '' });
  };
  const wrong = upload.error?.message ?? error ?? (isGone ? 'This picture has expired. Choose it again.' : undefined);
  return (
    <fieldset
      aria-label="First frame"
      className={`rounded-xl border border-dashed p-3 transition-colors ${isOver ? 'border-accent bg-accent-soft' : 'border-line-strong'}`}
      onDragOver={over(true)}
      onDragLeave={over(false)}
      onDrop={dropped}
    >
      <div className="flex items-center gap-3">
        {draft.image && !isGone && (
          <img
            src={thumbnailOf(draft.image)}
            alt="First frame of the video, as it will be cropped"
            className="max-h-28 w-24 shrink-0 rounded-lg bg-raised object-cover sm:w-32"
            style={{ aspectRatio: aspectOf(draft, model) }}
            onError={() => setGone(draft.image)}
          />
        )}
        <div className="min-w-0 flex-1 space-y-2">
          <label className="label" htmlFor={id}>
            First frame
          </label>
          <p className="hint">
            {draft.image ? 'The video begins here. The centre is used, in the video’s aspect ratio.' : 'Drop, paste or choose a PNG, JPEG or WebP picture.'}
          </p>
          <div className="flex flex-wrap gap-2">
            <Button icon="film" disabled={upload.isPending} aria-busy={upload.isPending} onClick={() => input.current?.click()}>
              {upload.isPending ? 'Uploading…' : draft.image ? 'Replace' : 'Choose a picture'}
            </Button>
            {draft.image && (
              <Button icon="close" variant="quiet" onClick={remove}>
                Remove
              </Button>
            )}
          </div>
          <input
            ref={input}
            id={id}
            type="file"
            accept={ACCEPTED}
            className="sr-only"
            aria-invalid={Boolean(wrong)}
            tabIndex={-1}
            onChange={(event) => {
              const file = event.target.files?.[0];
              // The same file can be chosen again after it was removed.
              if (file) mutate(file);
              event.target.value = '';
            }}
          />
        </div>
      </div>
      {wrong && (
        <div className="mt-2">
          <FieldNote text={wrong} />
        </div>
      )}
    </fieldset>
  );
}
