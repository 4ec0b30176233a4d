/** Size, aspect and length, as the model offers them. */
import type { ModelView } from '../../api/schema';
import { trim } from '../../lib/format';
import { Field, FieldNote } from '../../ui/Field';
import { Segmented } from '../../ui/Segmented';
import { type Draft, isCustomSize, longestOf, shortestOf } from './draft';
import type { FormErrors } from './request';

/** The API counts lengths in frames at this rate, whatever the model renders. */
const FRAMES_A_SECOND = 24;

interface Props {
  draft: Draft;
  model: ModelView;
  errors: FormErrors;
  change: (part: Partial<Draft>) => void;
}

export function ShapeFields({ draft, model, errors, change }: Props) {
  const aspects = model.sizes.find((each) => each.name === draft.size)?.aspects ?? [];
  const aspect = aspects.find((each) => each.aspect === draft.aspect) ?? aspects[0];
  const names = [...model.sizes.map(({ name }) => name), ...(isCustomSize(draft.size) ? [draft.size] : [])];
  const seconds = (draft.length / FRAMES_A_SECOND).toFixed(1);
  return (
    <div className="space-y-3.5">
      <div className="flex flex-wrap gap-x-6 gap-y-3">
        {names.length > 0 && (
          <Segmented
            legend="Size"
            options={names.map((name) => ({ value: name, label: name.replace('x', ' × ') }))}
            value={draft.size}
            onChange={(name) => change({ size: name, aspect: '' })}
          />
        )}
        {aspects.length > 0 && (
          <Segmented
            legend="Aspect"
            options={aspects.map((each) => ({ value: each.aspect, label: each.aspect, title: `${each.width} × ${each.height}` }))}
            value={aspect?.aspect ?? ''}
            onChange={(value) => change({ aspect: value === aspects[0]?.aspect ? '' : value })}
          />
        )}
      </div>
      {(errors.size ?? errors.aspect) && <FieldNote text={errors.size ?? errors.aspect ?? ''} />}
      <Field
        label="Length"
        error={errors.length}
        aside={
          <span className="num hint">
            {trim(Number(seconds), 1)} s{aspect ? ` · ${aspect.width} × ${aspect.height}` : ''}
          </span>
        }
      >
        {(control) => (
          <input
            {...control}
            type="range"
            className="w-full accent-accent"
            min={shortestOf(model)}
            max={longestOf(model)}
            step={model.video_length_step}
            value={draft.length}
            aria-valuetext={`${seconds} seconds`}
            onChange={(event) => change({ length: Number(event.target.value) })}
          />
        )}
      </Field>
    </div>
  );
}
