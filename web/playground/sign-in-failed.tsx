/** The page of a refused sign-in. */
export function SignInFailed({ why }: { why: string }) {
  return (
    <main class="alone">
      <h1>Nobody is signed in</h1>
      <p>{why}</p>
      <button type="button" class="main" onClick={() => location.reload()}>
        Try again
      </button>
    </main>
  );
}
