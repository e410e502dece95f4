import type { TroupeError } from '../../lib/core/errors.ts';
import {
  type Picker,
  type PickerOptions,
  type PickerReplica,
  createPicker,
} from '../../lib/routing/picker.ts';

/**
 * The shipped picker, but a strategy that fails fails the experiment. The picker lets least outstanding stand in for such a
 * strategy and swallows what its listener throws, so the fault is kept and thrown by the pick.
 */
export function strictPicker<R extends PickerReplica>(options: Omit<PickerOptions<R>, 'onFault'>): Picker {
  let fault: TroupeError | undefined;
  const picker = createPicker({
    ...options,
    onFault: (error) => {
      fault ??= error;
    },
  });
  const pick = picker.pick.bind(picker);
  picker.pick = (query, key, only) => {
    const picked = pick(query, key, only);
    if (fault !== undefined) throw fault;
    return picked;
  };
  return picker;
}
