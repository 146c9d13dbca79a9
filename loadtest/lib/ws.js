// The module has moved between versions of k6; one script serves them all.
let sockets;
try {
  sockets = require('k6/websockets');
} catch (_) {
  sockets = require('k6/experimental/websockets');
}
module.exports = { WebSocket: sockets.WebSocket };
