package main

import (
	"encoding/binary"
	"math"
)

const (
	joints          = 10
	landmarks       = 33
	landmarkSize    = 16
	leastVisibility = 0.3
	farthest        = 1e6
	degrees         = 180 / math.Pi
)

// limb goes from one landmark to another.
type limb struct{ from, to int }

// joint is where two limbs meet; what is taken off makes the value of the posture that counts as 0.
type joint struct {
	first, second limb
	takenOff      float32
}

// The ten joints, left and right, in the order of Penstock's: knee, elbow and hip flexion, shoulder
// elevation, ankle dorsiflexion.
var jointTable = makeJoints()

func makeJoints() (table [joints]joint) {
	const shoulder, elbow, wrist, hip, knee, ankle, foot = 11, 13, 15, 23, 25, 27, 31
	for side := 0; side < 2; side++ {
		upperArm := limb{shoulder + side, elbow + side}
		forearm := limb{elbow + side, wrist + side}
		trunk := limb{shoulder + side, hip + side}
		thigh := limb{hip + side, knee + side}
		shank := limb{knee + side, ankle + side}
		table[side] = joint{thigh, shank, 0}
		table[2+side] = joint{upperArm, forearm, 0}
		table[4+side] = joint{trunk, thigh, 0}
		table[6+side] = joint{trunk, upperArm, 0}
		table[8+side] = joint{shank, limb{ankle + side, foot + side}, 90}
	}
	return table
}

// reach is the least and the greatest angle of every joint; NaN until there was one.
type reach struct {
	least, greatest [joints]float32
}

var noReach = makeNoReach()

func makeNoReach() (r reach) {
	for at := range r.least {
		r.least[at], r.greatest[at] = float32(math.NaN()), float32(math.NaN())
	}
	return r
}

type point struct {
	x, y float32
	seen bool
}

// widen computes the angles of a batch's frames and widens the reach by them.
func (r *reach) widen(b batch) {
	var points [landmarks]point
	for frame := b.landmarks; len(frame) >= landmarkBytes; frame = frame[landmarkBytes:] {
		readPoints(frame, &points)
		for at := range jointTable {
			angle, ok := jointTable[at].angle(&points)
			if !ok {
				continue
			}
			// Written so that the first angle takes NaN's place.
			if !(r.least[at] <= angle) {
				r.least[at] = angle
			}
			if !(r.greatest[at] >= angle) {
				r.greatest[at] = angle
			}
		}
	}
}

func readPoints(frame []byte, points *[landmarks]point) {
	for at := 11; at < landmarks; at++ { // the face has no joints
		raw := frame[at*landmarkSize : (at+1)*landmarkSize]
		x, y := float(raw[0:]), float(raw[4:])
		points[at] = point{x, y, float(raw[12:]) >= leastVisibility && near(x) && near(y)}
	}
}

func (j *joint) angle(points *[landmarks]point) (float32, bool) {
	a, b := &points[j.first.from], &points[j.first.to]
	c, d := &points[j.second.from], &points[j.second.to]
	if !(a.seen && b.seen && c.seen && d.seen) {
		return 0, false
	}
	ax, ay := b.x-a.x, b.y-a.y
	bx, by := d.x-c.x, d.y-c.y
	across, along := ax*by-ay*bx, ax*bx+ay*by
	angle := math.Atan2(math.Abs(float64(across)), float64(along)) * degrees
	return float32(angle) - j.takenOff, true
}

func float(raw []byte) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(raw))
}

// near is also false for NaN.
func near(value float32) bool {
	return value < farthest && value > -farthest
}

// plain gives the reach as JSON can hold it, null where there is none.
func (r *reach) plain() map[string][]*float32 {
	plain := map[string][]*float32{}
	for name, values := range map[string]*[joints]float32{"least": &r.least, "greatest": &r.greatest} {
		for at := range values {
			var told *float32
			if value := values[at]; value == value {
				told = &value
			}
			plain[name] = append(plain[name], told)
		}
	}
	return plain
}
