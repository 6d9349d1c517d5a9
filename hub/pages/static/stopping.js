// The page of a server that is stopping: look again until it has.
setInterval(() => window.location.reload(), 3000);
window.landbridgeReady = true;
