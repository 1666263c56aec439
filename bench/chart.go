package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A chart is how one figure grows: a table, and a panel of a picture.
type chart struct {
	title  string
	x      string // what grows
	xs     []int
	format func(float64) string
	part   bool // the figures are parts of one, for which the axis is not logarithmic
	lines  []line
}

// A line is that of one library: its figure at each of the xs, NaN where there is
// none.
type line struct {
	name string
	ys   []float64
}

// set notes the figure y of the line of that name at xs[i].
func (c *chart) set(name string, i int, y float64) {
	for _, l := range c.lines {
		if l.name == name {
			l.ys[i] = y
			return
		}
	}
	l := line{name, make([]float64, len(c.xs))}
	for j := range l.ys {
		l.ys[j] = math.NaN()
	}
	l.ys[i] = y
	c.lines = append(c.lines, l)
}

// table returns c as a table, a row for each x and a column for each line.
func (c *chart) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n| %s |", c.title, c.x)
	for _, l := range c.lines {
		fmt.Fprintf(&b, " %s |", l.name)
	}
	b.WriteString("\n|--:|" + strings.Repeat("--:|", len(c.lines)) + "\n")
	for i, x := range c.xs {
		fmt.Fprintf(&b, "| %s |", thousands(x))
		for _, l := range c.lines {
			if math.IsNaN(l.ys[i]) {
				b.WriteString(" |")
			} else {
				fmt.Fprintf(&b, " %s |", c.format(l.ys[i]))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// thousands formats n with a comma where there is need of one.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

const (
	panelWidth  = 14 * vg.Centimeter
	panelHeight = 8 * vg.Centimeter
	gap         = 10 * vg.Length(1)
	keyHeight   = 1 * vg.Centimeter
)

// drawCharts writes the picture of some charts, two beside each other, as path.svg
// and path.png.
func drawCharts(path string, charts []*chart) error {
	const cols = 2
	rows := (len(charts) + cols - 1) / cols
	width, height := cols*panelWidth, vg.Length(rows)*panelHeight+keyHeight
	return save(path, width, height, func(canvas vg.CanvasSizer) error {
		all := draw.New(canvas)
		all.SetColor(color.White)
		all.Fill(all.Rectangle.Path())
		panels := make([][]*plot.Plot, rows)
		for i := range panels {
			panels[i] = make([]*plot.Plot, cols)
		}
		for i, c := range charts {
			p, err := c.panel()
			if err != nil {
				return err
			}
			panels[i/cols][i%cols] = p
		}
		tiles := draw.Tiles{Rows: rows, Cols: cols, PadTop: gap, PadBottom: gap, PadLeft: gap, PadRight: gap, PadX: 2 * gap, PadY: 2 * gap}
		for i, row := range plot.Align(panels, tiles, draw.Crop(all, 0, 0, keyHeight, 0)) {
			for j, c := range row {
				if panels[i][j] != nil {
					panels[i][j].Draw(c)
				}
			}
		}
		drawKey(draw.Crop(all, 2*gap, -gap, gap, keyHeight-height), charts)
		return nil
	})
}

// besideStyle is that of a line which is not a whole library's.
var besideStyle = draw.GlyphStyle{Color: color.RGBA{0x80, 0x00, 0x30, 0xff}, Radius: 5, Shape: draw.PlusGlyph{}}

// styleOf returns the style of the line of that name: a library has the one that it
// has in the other picture.
func styleOf(name string) draw.GlyphStyle {
	if i := indexOf(name); i >= 0 {
		return styles[i]
	}
	return besideStyle
}

// drawKey says at the bottom which line is whose.
func drawKey(c draw.Canvas, charts []*chart) {
	text := plot.New().Legend.TextStyle
	text.Font.Variant = "Sans"
	at := c.Min
	seen := make(map[string]bool)
	for _, chart := range charts {
		for _, l := range chart.lines {
			if seen[l.name] {
				continue
			}
			seen[l.name] = true
			c.DrawGlyph(styleOf(l.name), vg.Point{X: at.X + 4, Y: at.Y + text.Height(l.name)/2})
			c.FillText(text, vg.Point{X: at.X + 12, Y: at.Y}, l.name)
			at.X += 30 + text.Width(l.name)
		}
	}
}

// panel draws c with logarithmic axes, unless the figures are parts of one. A figure that
// is not above zero has no place on such an axis: the table has it, and the line leaves it out.
func (c *chart) panel() (*plot.Plot, error) {
	p := plot.New()
	for _, style := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.X.Label.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.Title.Text, p.X.Label.Text = c.title, c.x
	p.Title.Padding = 6
	p.X.Scale = plot.LogScale{}
	var ticks plot.ConstantTicks
	for _, x := range c.xs {
		ticks = append(ticks, plot.Tick{Value: float64(x), Label: thousands(x)})
	}
	p.X.Tick.Marker = ticks
	if !c.part {
		p.Y.Scale = plot.LogScale{}
		p.Y.Tick.Marker = decades(c.format)
	}
	p.Add(plotter.NewGrid())
	for _, l := range c.lines {
		var points plotter.XYs
		for i, y := range l.ys {
			if y > 0 || c.part && y == 0 {
				points = append(points, plotter.XY{X: float64(c.xs[i]), Y: y})
			}
		}
		if points == nil {
			continue
		}
		drawn, glyphs, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", c.title, l.name, err)
		}
		drawn.Color = styleOf(l.name).Color
		glyphs.GlyphStyle = styleOf(l.name)
		p.Add(drawn, glyphs)
	}
	p.X.Min, p.X.Max = float64(c.xs[0]), float64(c.xs[len(c.xs)-1])
	if p.X.Min == p.X.Max {
		p.X.Max *= 10
	}
	if c.part {
		p.Y.Min, p.Y.Max = 0, 1
		return p, nil
	}
	if !(p.Y.Min > 0) || math.IsInf(p.Y.Min, 0) { // nothing was drawn
		p.Y.Min, p.Y.Max = 1, 10
	}
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, max(math.Ceil(math.Log10(p.Y.Max)), math.Log10(p.Y.Min)+1))
	return p, nil
}

// save writes what is drawn on a canvas as path.svg and path.png.
func save(path string, width, height vg.Length, paint func(vg.CanvasSizer) error) error {
	for suffix, canvas := range map[string]vg.CanvasWriterTo{
		".svg": vgsvg.New(width, height),
		".png": vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(110))},
	} {
		if err := paint(canvas); err != nil {
			return err
		}
		f, err := os.Create(path + suffix)
		if err != nil {
			return err
		}
		if _, err := canvas.WriteTo(f); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
