// Service workers that a user's server has left here for other pages than its own. The
// edge lets none be made any more; those of before are ended, and what one's own server
// made is kept.
{
  const own = document.currentScript.dataset.own;
  const ours = (worker) => own && new URL(worker.scope).pathname.startsWith(own);
  navigator.serviceWorker
    ?.getRegistrations()
    .then((all) => Promise.all(all.filter((one) => !ours(one)).map((one) => one.unregister())))
    .catch(() => {
      // a browser that keeps none for this page
    });
}
