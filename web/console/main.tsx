import "../shared/styles/font.css";
import "../shared/styles/tokens.css";
import "../shared/styles/controls.css";
import "../shared/styles/frame.css";
import "uplot/dist/uPlot.min.css";
import "./styles/page.css";
import "./styles/charts.css";
import "./styles/tables.css";
import "./styles/log.css";
import { render } from "preact";
import { start } from "./feed";
import { Page } from "./page";

start();
render(<Page />, document.body);
