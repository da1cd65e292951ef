// A Stripe client whose answers are changed on their way in: for words that Stripe may say one day and the sandbox does
// not know. The requests are real.
import Stripe from 'stripe';

/** @param edit gets the path and the parsed body of every answer, and changes the body in place; or holds it up */
export function editedStripe(
  apiBase: string,
  // biome-ignore lint/suspicious/noExplicitAny: any object of Stripe
  edit: (path: string, body: any) => void | Promise<void>,
): Stripe {
  const { hostname, port } = new URL(apiBase);
  const httpClient = Stripe.createFetchHttpClient(
    async (input: string | URL | Request, init?: RequestInit) => {
      const response = await fetch(input, init);
      const body: unknown = await response.json();
      await edit(new URL(input instanceof Request ? input.url : input).pathname, body);
      return new Response(JSON.stringify(body), { status: response.status, headers: response.headers });
    },
  );
  return new Stripe('sk_test_edited', { host: hostname, port, protocol: 'http', httpClient });
}
