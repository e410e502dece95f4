/** Several clients of one kind as one thing to close. */
export function opened(clients) {
  return { clients, close: () => Promise.all(clients.map((client) => client.close())) };
}
