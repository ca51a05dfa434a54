/** The console: the sign-in form if needed, otherwise one of its views. */

import { asksForToken } from "./api";
import { overview } from "./feed";
import { Header } from "./header";
import { Instances } from "./instances";
import { Notices } from "./notices";
import { Outcome } from "./outcome";
import { SignIn } from "./sign-in";
import { VIEWS, view } from "./views";

export function Page() {
  if (asksForToken.value !== null) return <SignIn why={asksForToken.value} />;
  const { View } = VIEWS.find(({ name }) => name === view.value) ?? VIEWS[0]!;
  return (
    <>
      <Header />
      <main>
        <Notices />
        <Outcome />
        <Instances />
        {overview.value && <View />}
      </main>
    </>
  );
}
