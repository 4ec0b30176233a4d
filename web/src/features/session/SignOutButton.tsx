/** Ends the session and clears cached data. */
import { useQueryClient } from '@tanstack/react-query';
import { setCsrfToken } from '../../api/client';
import { signOut } from '../../api/signOut';
import { IconButton } from '../../ui/Button';
import { toastError } from '../../ui/toast';

export function SignOutButton() {
  const client = useQueryClient();
  const leave = async () => {
    try {
      await signOut();
      setCsrfToken(null);
      await client.resetQueries();
    } catch (error) {
      toastError(error);
    }
  };
  return <IconButton icon="out" label="Sign out" onClick={() => void leave()} />;
}
