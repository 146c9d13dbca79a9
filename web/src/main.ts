import { mount } from "svelte";

import "./app.css";
import App from "./ui/App.svelte";
import { i18n } from "./lib/i18n.svelte";
import { keys } from "./lib/keys.svelte";
import { theme } from "./lib/theme.svelte";

i18n.start();
theme.start();
keys.start();

mount(App, { target: document.getElementById("app")! });
