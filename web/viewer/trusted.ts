// The two kinds of text that the policy of the page guards: the address of the one script that a worker may be, and pages of
// others.
type Rules = { createScriptURL(s: string): string; createHTML(s: string): string };

declare const trustedTypes: { createPolicy(name: string, rules: Rules): Rules } | undefined;

const rules: Rules = { createScriptURL: (s) => (s.startsWith("blob:") ? s : ""), createHTML: (s) => s };

export const trusted = typeof trustedTypes === "undefined" ? rules : trustedTypes.createPolicy("pcapsule", rules);

/** still returns a page of others without what could connect or run. It is for a frame in a sandbox, which also forbids it. */
export function still(page: string): string {
	const d = new DOMParser().parseFromString(trusted.createHTML(page), "text/html");
	// Templates can hide links until the page is read again.
	for (const e of d.querySelectorAll("link, meta, base, script, iframe, frame, object, embed, template")) e.remove();
	const ahead = d.createElement("meta");
	ahead.httpEquiv = "x-dns-prefetch-control";
	ahead.content = "off";
	d.head.prepend(ahead);
	return trusted.createHTML("<!doctype html>" + d.documentElement.outerHTML);
}
