// A link may bring the token along behind its #, which no server sees: it is put into the form and
// taken out of the address. Nobody is signed in by a link alone: that takes the button.

function take() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  const field = document.getElementById("field-token");
  field.value = given;
  history.replaceState(null, "", location.pathname + location.search);
  field.form.querySelector("button[type=submit]").focus();
}

take();
// The same link again, in the same tab, loads nothing.
addEventListener("hashchange", take);
