// The address of a view follows what is chosen in it.

/** What puts another address in place of the view's own, unless one has left the view meanwhile. */
export function keeper() {
  const { entry } = history.state;
  return (link) => {
    if (history.state?.entry === entry) history.replaceState(history.state, "", link);
  };
}
