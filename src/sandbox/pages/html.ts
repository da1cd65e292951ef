import { STYLE } from './style.ts';

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | readonly Html[];

const render = (value: Value): string => {
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map((one) => one.text).join('');
  return String(value).replaceAll(/[&<>"']/g, (char) => ENTITIES[char] ?? char);
};

/** Everything put into the template is escaped unless it is itself a template. */
export function html(strings: TemplateStringsArray, ...values: Value[]): Html {
  return new Html(
    strings.map((text, index) => text + (index < values.length ? render(values[index] ?? '') : '')).join(''),
  );
}

export const NOTHING = html``;

export function document(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<style>${new Html(STYLE)}</style></head>
<body><p class="test"><strong>Sandbox</strong> No real money moves here.</p><main>${body}</main></body></html>
`.text;
}

export type { Html };
export type PageAnswer = { status: number; html: string } | { redirect: string };

export const pageOf = (title: string, body: Html, status = 200): PageAnswer => ({
  status,
  html: document(title, body),
});
