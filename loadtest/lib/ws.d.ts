export { WebSocket } from 'k6/websockets';
