// What the policy of the page does not close. WebRTC: browsers do not read its directive webrtc yet. Links that connect ahead
// (rel=preconnect): no directive names them, so here nothing can make a link. A frame that is made later has an origin of its own
// and no script, so nothing can get the names below back.
const hide = (of: object, name: string, value?: unknown) => Object.defineProperty(of, name, { value, writable: false, configurable: false });

for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCDataChannel", "WebTransport", "customElements", "XSLTProcessor"]) hide(globalThis, name);
for (const name of ["execCommand", "parseHTML", "parseHTMLUnsafe"]) {
	hide(Document.prototype, name);
	hide(Document, name);
}
hide(DOMImplementation.prototype, "createDocument");
for (const of of [Element.prototype, ShadowRoot.prototype]) for (const name of ["setHTML", "setHTMLUnsafe"]) hide(of, name);

/** noLink returns a name of an element, unless it is that of a link. */
function noLink(name: unknown): string {
	const text = String(name);
	if (/(^|:)link$/i.test(text)) throw new Error("this page makes no links");
	return text;
}

const { createElement, createElementNS } = Document.prototype;
hide(Document.prototype, "createElement", function (this: Document, name: unknown, options?: ElementCreationOptions) {
	return createElement.call(this, noLink(name), options);
});
hide(Document.prototype, "createElementNS", function (this: Document, space: string | null, name: unknown, options?: ElementCreationOptions) {
	return createElementNS.call(this, space, noLink(name), options);
});
export {};
