package main

import (
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"packlock/internal/contend"
)

const (
	width       = 29 * vg.Centimeter
	height      = 20 * vg.Centimeter
	legendWidth = 4.8 * vg.Centimeter
)

// styles are those of the libraries, in their order: colours that the
// colour-blind can tell apart too, and shapes for print.
var styles = []draw.GlyphStyle{
	{Color: color.RGBA{0xd5, 0x5e, 0x00, 0xff}, Radius: 5, Shape: draw.CircleGlyph{}},
	{Color: color.RGBA{0x00, 0x00, 0x00, 0xff}, Radius: 4, Shape: draw.BoxGlyph{}},
	{Color: color.RGBA{0x00, 0x72, 0xb2, 0xff}, Radius: 4, Shape: draw.TriangleGlyph{}},
	{Color: color.RGBA{0x00, 0x9e, 0x73, 0xff}, Radius: 4, Shape: draw.PyramidGlyph{}},
	{Color: color.RGBA{0xcc, 0x79, 0xa7, 0xff}, Radius: 4, Shape: draw.SquareGlyph{}},
	{Color: color.RGBA{0x56, 0xb4, 0xe9, 0xff}, Radius: 4, Shape: draw.RingGlyph{}},
	{Color: color.RGBA{0xb8, 0x90, 0x00, 0xff}, Radius: 4, Shape: draw.CrossGlyph{}},
	{Color: color.RGBA{0x80, 0x80, 0x80, 0xff}, Radius: 4, Shape: draw.PlusGlyph{}},
	{Color: color.RGBA{0x66, 0x33, 0x00, 0xff}, Radius: 4, Shape: draw.RingGlyph{}},
}

// draw writes the picture as path.svg and path.png.
func (r *results) draw(path string) error { return save(path, width, height, r.drawOn) }

func (r *results) drawOn(canvas vg.CanvasSizer) error {
	throughput, legend, err := r.panel("Throughput: operations a second, more is better", slices.Concat(inside, between),
		func(f contend.Figures) float64 { return f.Rate }, contend.Rate)
	if err != nil {
		return err
	}
	worst, _, err := r.panel("Worst wait: less is better", between,
		func(f contend.Figures) float64 { return float64(f.Worst) }, nanoseconds)
	if err != nil {
		return err
	}
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	panels := [][]*plot.Plot{{throughput}, {worst}}
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadTop: 10, PadBottom: 10, PadLeft: 10, PadRight: 10, PadY: 20}
	for i, c := range plot.Align(panels, tiles, draw.Crop(all, 0, -legendWidth, 0, 0)) {
		panels[i][0].Draw(c[0])
	}
	legend.Draw(draw.Crop(all, width-legendWidth, -10, 0, -34))
	return nil
}

// panel has a point for each library in each of the scenarios. Points, because
// on a logarithmic scale, which the range of the figures needs, the length of a
// bar would mean nothing.
func (r *results) panel(title string, scenarios []contend.Scenario, figure func(contend.Figures) float64, format func(float64) string) (*plot.Plot, plot.Legend, error) {
	p := plot.New()
	for _, style := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.X.Tick.Label.Font.Size = vg.Points(9)
	p.Title.Text = title
	p.Title.Padding = 6
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = decades(format)
	p.Add(plotter.NewGrid())

	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		names[i] = strings.ReplaceAll(s.Name, ", ", "\n")
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(scenarios))-0.5

	legend := p.Legend
	legend.Top, legend.Left = true, true
	legend.Padding = 3
	for i, l := range libraries {
		points := make(plotter.XYs, len(scenarios))
		for j, s := range scenarios {
			points[j].X = float64(j) + (float64(i)-float64(len(libraries)-1)/2)*0.09
			points[j].Y = max(figure(r.of(s, l.Name)), 1) // there is no zero on this scale
		}
		scatter, err := plotter.NewScatter(points)
		if err != nil {
			return nil, legend, err
		}
		scatter.GlyphStyle = styles[i]
		p.Add(scatter)
		legend.Add(l.Name, scatter)
	}
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
	return p, legend, nil
}

// decades are the ticks of a logarithmic axis: powers of ten with a label, and
// between them multiples without.
type decades func(float64) string

func (label decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for decade := low; decade < 1.01*high; decade *= 10 {
		ticks = append(ticks, plot.Tick{Value: decade, Label: label(decade)})
		for i := 2.0; i < 10 && i*decade < high; i++ {
			ticks = append(ticks, plot.Tick{Value: i * decade})
		}
	}
	return ticks
}
