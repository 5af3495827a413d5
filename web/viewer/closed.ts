// WebRTC is the one way to send that the policy does not close: browsers do not read its directive webrtc yet. A frame
// that is made later has an origin of its own and no script, so nothing can get it back.
for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCDataChannel", "WebTransport"]) Object.defineProperty(globalThis, name, { value: undefined, writable: false, configurable: false });
export {};
