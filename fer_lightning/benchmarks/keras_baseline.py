"""The Keras baseline, in a file of its own, so that its process imports TensorFlow and no torch."""

from __future__ import annotations

from collections.abc import Callable


def keras_fit(clock: Callable[[float], None], folder: str, *, size: int, batch_size: int, learning_rate: float) -> None:
    """Train the Kaggle network of `models/keras_cnn.py` with Keras's `fit`, as its notebooks do; needs TensorFlow."""
    import tensorflow as tf

    layers = tf.keras.layers
    moves = dict.fromkeys(("width_shift_range", "height_shift_range", "zoom_range"), 0.1)
    make = tf.keras.preprocessing.image.ImageDataGenerator
    generator = make(rescale=1 / 255, horizontal_flip=True, rotation_range=10, **moves)
    pictures = generator.flow_from_directory(folder, (size, size), "grayscale", batch_size=batch_size)
    network = tf.keras.models.Sequential([layers.Input((size, size, 1))])
    for filters, kernel in ((64, 3), (128, 5), (512, 3), (512, 3)):
        convolution = layers.Conv2D(filters, kernel, padding="same")
        for layer in (convolution, layers.BatchNormalization(), layers.Activation("relu"), layers.MaxPooling2D(2)):
            network.add(layer)
        network.add(layers.Dropout(0.25))
    network.add(layers.Flatten())
    for width in (256, 512):
        dense = layers.Dense(width)
        for layer in (dense, layers.BatchNormalization(), layers.Activation("relu"), layers.Dropout(0.25)):
            network.add(layer)
    network.add(layers.Dense(pictures.num_classes, activation="softmax"))
    optimizer = tf.keras.optimizers.Adam(learning_rate)
    network.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])

    class CountBatches(tf.keras.callbacks.Callback):  # type: ignore[misc]  # TensorFlow has no types
        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            clock(pictures.n / len(pictures))  # the last batch of an epoch is smaller

    network.fit(pictures, epochs=10**6, verbose=0, callbacks=[CountBatches()])
